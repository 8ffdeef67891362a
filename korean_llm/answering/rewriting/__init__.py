"""Follow-up questions made whole from the conversation they stand in."""
