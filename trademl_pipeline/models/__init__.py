"""Networks and trees."""
