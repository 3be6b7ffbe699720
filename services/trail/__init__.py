"""The audit trail: who read or changed what, in a table that is only added to, each row chained to the one before."""
