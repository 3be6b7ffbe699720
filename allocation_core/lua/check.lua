-- Whether the caller is still the owner, on the state it believes in: what an idle owner asks now and then (spec §4).
-- KEYS: the partition. ARGV: generation, expected applied offset.
-- Gives {"OWNED"} or a refusal.

--- @include "includes/guards"

return refusal(KEYS[1], ARGV[1], ARGV[2]) or { "OWNED" }
