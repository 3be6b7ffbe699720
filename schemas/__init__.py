"""The contract: what may be said to the engine and what it says, as spec §1 and §2 word it."""
