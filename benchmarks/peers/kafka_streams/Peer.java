import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams, exactly once: departments on the heap, written through to two stores with changelogs, from which a new
 * task makes them anew. The hot counters go through the stores' cache, so a commit writes each once.
 */
public final class Peer implements Processor<String, byte[], String, byte[]> {
    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Map<String, Department> departments = new HashMap<>();
    private ProcessorContext<String, byte[]> context;
    private KeyValueStore<String, String> counters;
    private KeyValueStore<String, String> rows;

    public static void main(String[] arguments) throws InterruptedException {
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("OPD_CONSUMER_GROUP"));
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("OPD_KAFKA_BOOTSTRAP_SERVERS"));
        config.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("BENCH_STATE_FOLDER"));
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        config.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6_000);
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 300);
        KafkaStreams streams = new KafkaStreams(topology(), config);
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close();
            stopped.countDown();
        }));
        streams.start();
        stopped.await();
    }

    private static Topology topology() {
        var string = Serdes.String();
        return new Topology()
                .addSource("commands", string.deserializer(), Serdes.ByteArray().deserializer(),
                        System.getenv("OPD_COMMANDS_TOPIC"))
                .addProcessor("decide", Peer::new, "commands")
                .addStateStore(Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("counters"), string, string)
                        .withCachingEnabled(), "decide")
                .addStateStore(Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("rows"), string, string),
                        "decide")
                .addSink("events", System.getenv("OPD_EVENTS_TOPIC"), string.serializer(),
                        Serdes.ByteArray().serializer(), "decide");
    }

    @Override
    public void init(ProcessorContext<String, byte[]> context) {
        this.context = context;
        counters = context.getStateStore("counters");
        rows = context.getStateStore("rows");
        try (var stored = counters.all()) {
            stored.forEachRemaining(each -> department(each.key).sequence = Long.parseLong(each.value));
        }
        // Doctors before tokens, for "d" comes before "t"; doctors by their place, tokens in any order.
        try (var stored = rows.all()) {
            while (stored.hasNext()) {
                var row = stored.next();
                String[] words = row.key.split("\\|");
                if (words[0].equals("d")) {
                    department(words[1]).doctors.put(words[3], JSON.readTree(row.value));
                } else {
                    department(words[1]).putBack(
                            Department.Token.read(words[2], Integer.parseInt(words[3]), row.value));
                }
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    @Override
    public void process(Record<String, byte[]> record) {
        JsonNode command;
        try {
            command = JSON.readTree(record.value());
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        String key = record.key(), type = command.get("type").textValue();
        JsonNode data = command.get("data");
        Department department = department(key);
        var said = department.decide(type, data);
        for (Department.Token token : department.changed) {
            rows.put("t|" + key + '|' + token.date + '|' + token.number, token.stored());
        }
        if (type.equals("opd.RegisterDoctor.v1")) {
            String place = String.format("%03d", department.doctors.size());
            rows.put("d|" + key + '|' + place + '|' + data.get("doctor_id").textValue(), data.toString());
        }
        var where = context.recordMetadata().orElseThrow();
        String id = where.partition() + "-" + where.offset() + '-';
        String time = TIME.format(Instant.ofEpochMilli(record.timestamp()));
        int n = 0;
        for (Department.Said each : said) {
            String subject = each.tokenId() == null ? "" : "\"subject\":\"" + each.tokenId() + "\",";
            String sequence = Long.toString(++department.sequence);
            String value = "{\"specversion\":\"1.0\",\"id\":\"" + id + n++ + "\",\"source\":\"opd/allocator\",\"type\":\"opd."
                    + each.type() + ".v1\",\"time\":\"" + time + "\"," + subject + "\"sequence\":\""
                    + "0".repeat(16 - sequence.length()) + sequence + "\",\"causationid\":" + command.get("id")
                    + ",\"data\":" + each.data() + '}';
            context.forward(new Record<>(key, value.getBytes(StandardCharsets.UTF_8), record.timestamp()));
        }
        counters.put(key, Long.toString(department.sequence));
    }

    private Department department(String key) {
        return departments.computeIfAbsent(key, Department::new);
    }
}
