"""`opd simulate`: a believable day of an outpatient department, the same for the same seed."""
