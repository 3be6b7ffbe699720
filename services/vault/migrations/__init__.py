"""How the vault's schema came to be."""
