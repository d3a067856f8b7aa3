"""What damage and odd input lead to."""
