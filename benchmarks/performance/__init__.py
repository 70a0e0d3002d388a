"""What a suggestion costs, and how fast and how exactly a generation trains."""
