import com.fasterxml.jackson.core.io.JsonStringEncoder;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** One department on the heap: the rules that the benchmark's commands need, and no others. */
final class Department {
    static final List<String> CLASSES = List.of("EMERGENCY", "PAID", "FOLLOW_UP", "ONLINE", "WALK_IN");

    /** An event before it stands in a record; tokenId is null where there is none. */
    record Said(String type, String tokenId, String data) {}

    /** A patient's place in a pool. */
    static final class Token {
        String date, slot, patientId, status, doctorId;
        int number, priority, timesPreempted;
        long arrival;

        String stored() {
            return String.join("|", slot, Long.toString(arrival), Integer.toString(priority), status,
                    doctorId == null ? "" : doctorId, Integer.toString(timesPreempted), patientId);
        }

        static Token read(String date, int number, String stored) {
            String[] words = stored.split("\\|", 7);
            Token token = new Token();
            token.date = date;
            token.number = number;
            token.slot = words[0];
            token.arrival = Long.parseLong(words[1]);
            token.priority = Integer.parseInt(words[2]);
            token.status = words[3];
            token.doctorId = words[4].isEmpty() ? null : words[4];
            token.timesPreempted = Integer.parseInt(words[5]);
            token.patientId = words[6];
            return token;
        }
    }

    /** One doctor in one slot on one date. */
    static final class Session {
        final String doctorId;
        final int capacity;
        int taken;

        Session(String doctorId, int capacity) {
            this.doctorId = doctorId;
            this.capacity = capacity;
        }

        boolean isLessLoadedThan(Session other) {
            int share = taken * other.capacity, othersShare = other.taken * capacity;
            return share < othersShare || share == othersShare && taken < other.taken;
        }
    }

    /** All sessions of a slot of a date, in the order of registration, and two ordered lines. */
    static final class Pool {
        final List<Session> sessions = new ArrayList<>();
        final List<Token> waiting = new ArrayList<>();
        final TreeSet<Token> confirmed = new TreeSet<>(Comparator.<Token>comparingInt(token -> -token.priority)
                .thenComparingInt(token -> token.timesPreempted).thenComparingLong(token -> -token.arrival));

        static final Comparator<Token> IN_TURN =
                Comparator.<Token>comparingInt(token -> token.priority).thenComparingLong(token -> token.arrival);

        Session free() {
            Session best = null;
            for (Session each : sessions) {
                if (each.taken < each.capacity && (best == null || each.isLessLoadedThan(best))) {
                    best = each;
                }
            }
            return best;
        }

        Session of(String doctorId) {
            return sessions.stream().filter(each -> each.doctorId.equals(doctorId)).findFirst().orElseThrow();
        }

        int placeOf(Token token) {
            int found = java.util.Collections.binarySearch(waiting, token, IN_TURN);
            return found < 0 ? -found - 1 : found;
        }

        void seat(Token token, Session session) {
            token.status = "CONFIRMED";
            token.doctorId = session.doctorId;
            session.taken++;
            confirmed.add(token);
        }

        int wait(Token token) {
            token.status = "WAITLISTED";
            token.doctorId = null;
            int place = placeOf(token);
            waiting.add(place, token);
            return place + 1;
        }

        void leave(Token token) {
            if (token.doctorId == null) {
                waiting.remove(placeOf(token));
            } else {
                confirmed.remove(token);
                of(token.doctorId).taken--;
            }
        }
    }

    final String facilityId, departmentId;
    final Map<String, JsonNode> doctors = new LinkedHashMap<>();
    final Map<String, Integer> numbers = new HashMap<>();
    final Map<String, Pool> pools = new HashMap<>();
    final Map<String, Token> tokens = new HashMap<>();
    final Set<Token> changed = new LinkedHashSet<>();
    long sequence, arrivals;

    Department(String key) {
        String[] ids = key.split("/");
        facilityId = ids[0];
        departmentId = ids[1];
    }

    List<Said> decide(String type, JsonNode data) {
        changed.clear();
        return switch (type) {
            case "opd.RequestToken.v1" -> request(data);
            case "opd.CancelToken.v1" -> cancel(data.get("token_id").textValue());
            default -> {
                doctors.put(data.get("doctor_id").textValue(), data);
                yield List.of(new Said("DoctorRegistered", null, data.toString()));
            }
        };
    }

    private List<Said> request(JsonNode data) {
        Token token = new Token();
        token.date = data.get("date").textValue();
        token.slot = data.get("slot").textValue();
        token.patientId = data.get("patient_id").textValue();
        token.priority = CLASSES.indexOf(data.get("source").textValue()) + 1;
        token.number = numbers.merge(token.date, 1, Integer::sum);
        token.arrival = ++arrivals;
        tokens.put(id(token), token);
        Pool pool = pool(token.date, token.slot);
        List<Said> said = new ArrayList<>(2);
        Session session = pool.free();
        if (session == null && token.priority == 1 && pool.confirmed.first().priority > 1) {
            Token victim = pool.confirmed.first();
            session = pool.of(victim.doctorId);
            pool.leave(victim);
            victim.timesPreempted++;
            int position = pool.wait(victim);
            said.add(of("TokenPreempted", victim, ",\"position\":" + position + ",\"lost_doctor_id\":\""
                    + session.doctorId + "\",\"reason\":\"EMERGENCY\",\"by_token_id\":\"" + id(token) + '"'));
        }
        if (session == null) {
            int position = pool.wait(token);
            said.add(of("TokenWaitlisted", token, ",\"position\":" + position));
        } else {
            pool.seat(token, session);
            said.add(of("TokenConfirmed", token, ""));
        }
        return said;
    }

    private List<Said> cancel(String tokenId) {
        Token token = tokens.get(tokenId);
        if (token == null || token.status.equals("CANCELLED")) {
            return List.of(new Said("CommandRejected", tokenId, "{\"facility_id\":\"" + facilityId
                    + "\",\"department_id\":\"" + departmentId + "\",\"command_type\":\"CancelToken\",\"reason\":\""
                    + (token == null ? "TOKEN_UNKNOWN" : "INVALID_TRANSITION") + "\",\"token_id\":\"" + tokenId + "\"}"));
        }
        Pool pool = pool(token.date, token.slot);
        pool.leave(token);
        token.status = "CANCELLED";
        List<Said> said = new ArrayList<>(2);
        said.add(of("TokenCancelled", token, ""));
        Session free = token.doctorId == null ? null : pool.free();
        if (free != null && !pool.waiting.isEmpty()) {
            Token first = pool.waiting.remove(0);
            pool.seat(first, free);
            said.add(of("TokenPromoted", first, ",\"reason\":\"CANCELLATION\""));
        }
        return said;
    }

    void putBack(Token token) {
        tokens.put(id(token), token);
        arrivals = Math.max(arrivals, token.arrival);
        numbers.merge(token.date, token.number, Math::max);
        Pool pool = pool(token.date, token.slot);
        if (token.status.equals("CONFIRMED")) {
            pool.seat(token, pool.of(token.doctorId));
        } else if (token.status.equals("WAITLISTED")) {
            pool.wait(token);
        }
    }

    private Pool pool(String date, String slot) {
        return pools.computeIfAbsent(date + slot, key -> {
            Pool pool = new Pool();
            doctors.forEach((doctorId, data) -> {
                for (JsonNode entry : data.get("schedule")) {
                    if (entry.get("slot").textValue().equals(slot)) {
                        pool.sessions.add(new Session(doctorId, entry.get("capacity").intValue()));
                    }
                }
            });
            return pool;
        });
    }

    private Said of(String type, Token token, String more) {
        changed.add(token);
        String tokenId = id(token);
        StringBuilder data = new StringBuilder(320);
        data.append("{\"facility_id\":\"").append(facilityId).append("\",\"department_id\":\"").append(departmentId)
                .append("\",\"date\":\"").append(token.date).append("\",\"slot\":\"").append(token.slot)
                .append("\",\"token_id\":\"").append(tokenId).append("\",\"token_no\":").append(token.number)
                .append(",\"patient_id\":\"");
        JsonStringEncoder.getInstance().quoteAsString(token.patientId, data);
        data.append("\",\"source\":\"").append(CLASSES.get(token.priority - 1)).append("\",\"status\":\"")
                .append(token.status).append("\",\"doctor_id\":");
        if (token.doctorId == null) {
            data.append("null");
        } else {
            data.append('"').append(token.doctorId).append('"');
        }
        return new Said(type, tokenId, data.append(more).append('}').toString());
    }

    private String id(Token token) {
        return facilityId + '.' + departmentId + '.' + token.date.replace("-", "") + '.' + token.number;
    }
}
