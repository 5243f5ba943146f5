"""What runs frames of items through a stage."""
