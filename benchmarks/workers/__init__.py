"""What is lost, repeated or different when many workers share a study and die."""
