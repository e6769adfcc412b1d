"""What was intended, sent, known and saved: on the disk before the next step is taken."""
