"""What a producer must still finish, on disk."""
