"""Messages to patients: what changed about their token, by the channel and in the language that they chose."""
