"""What the project is made ready for others with; not part of the package."""
