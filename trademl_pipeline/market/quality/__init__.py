"""Which bars break a rule, and how good a month is."""
