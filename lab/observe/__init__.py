"""What a process tells whoever looks after it."""
