"""The one error of settings."""


class SettingsError(ValueError):
    """A setting cannot be understood, or contradicts what a folder was made with; the message says what to write."""
