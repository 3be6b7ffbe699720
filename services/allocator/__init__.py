"""The allocator: commands from Kafka, decided in Redis, events to Kafka; each once, whatever dies (spec §4).

`owner` is the protocol of one partition and knows no Kafka client; `group` gives partitions to owners;
`kafka` is the Kafka side of both; `records` turns records into commands and events into records.
"""
