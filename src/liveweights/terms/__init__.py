"""What each model may be used for, by rules; and which of several models fits a request."""
