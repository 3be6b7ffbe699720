"""`opd dead-letters`: what became of unreadable records (R1), and a way back for those that can be read after all."""
