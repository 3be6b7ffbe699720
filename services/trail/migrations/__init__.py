"""How the audit trail's schema came to be."""
