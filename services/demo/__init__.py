"""`opd demo`: a simulated day through the whole system, shown live, audited, and summed up for a hospital's manager."""
