"""`opd verify`: proves from the topics alone that spec §4's invariants hold, or names the records that break one."""
