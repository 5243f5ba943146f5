"""Items as bytes: MessagePack with types that keep what Python means."""
