"""What else a hospital could pick, each written as a competent engineer would, in one short file.

They do an easier job than ours: requests, cancellations and first registrations alone, no R2, no R4a, no pins, no dead
letters, no days that go by. For the benchmark's commands they must say what the model says, to the byte.
"""
