"""Networks apart from their numbers: which can train as one, and what is known of them."""
