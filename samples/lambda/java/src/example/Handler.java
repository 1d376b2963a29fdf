package example;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.TreeMap;

/**
 * A function that takes a secret in each of the three ways that latchkey has: a
 * file, its environment, and Vault's API on localhost. Copy the one you want.
 * Its handler is example.Handler::handle. It needs nothing but the JDK.
 */
public final class Handler {
    /** What the database asks for. It has no toString that would print a password. */
    static final class Credentials {
        final String username;
        final String password;

        Credentials(String username, String password) {
            this.username = username;
            this.password = password;
        }

        /**
         * Takes them out of an answer of Vault: KV version 2 puts a secret into
         * data.data; version 1 and most other engines into data.
         */
        static Credentials from(String answer) {
            Json data = Json.parse(answer).get("data").get("data");
            return new Credentials(data.get("username").text(), data.get("password").text());
        }
    }

    private interface Way {
        Credentials get() throws IOException, InterruptedException;
    }

    // Made once, used by every invocation.
    private final HttpClient http = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .connectTimeout(Duration.ofSeconds(1))
            .build();

    /**
     * The file that VAULT_SECRET_PATH_DB and VAULT_SECRET_FILE_DB ask for. It is
     * there before this class is loaded, and is replaced as a whole when the secret
     * changes; so read it when it is needed, not once at the start. Under SnapStart
     * it is there from the first invocation on, not while the snapshot is made.
     */
    Credentials fromFile() throws IOException {
        return Credentials.from(Files.readString(Path.of(env("VAULT_SECRET_FILE_DB", "/tmp/vault/db.json"))));
    }

    /**
     * What AWS_LAMBDA_EXEC_WRAPPER=/opt/latchkey-exec put in place of
     * vault:secret/data/app#username. It stays as it was at the start.
     */
    Credentials fromEnvironment() {
        return new Credentials(env("DB_USERNAME", ""), env("DB_PASSWORD", ""));
    }

    /** No token: latchkey lends its own. */
    Credentials fromProxy() throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder()
                .uri(URI.create(env("VAULT_ADDR", "http://127.0.0.1:8200") + "/v1/secret/data/app"))
                .header("X-Vault-Request", "true")
                .timeout(Duration.ofSeconds(5))
                .build();
        HttpResponse<String> response = http.send(request, HttpResponse.BodyHandlers.ofString());
        if (response.statusCode() != 200) {
            throw new IOException("Vault answers " + response.statusCode() + ": " + response.body());
        }
        return Credentials.from(response.body());
    }

    /**
     * Answers with the user name that each way gave. A password is not for an answer
     * or a log.
     */
    public Map<String, String> handle(Map<String, Object> event) throws IOException, InterruptedException {
        Map<String, Way> ways = new TreeMap<>();
        ways.put("file", this::fromFile);
        ways.put("environment", this::fromEnvironment);
        ways.put("proxy", this::fromProxy);
        Map<String, String> users = new TreeMap<>();
        for (Map.Entry<String, Way> way : ways.entrySet()) {
            Credentials credentials = way.getValue().get();
            if (credentials.password.isEmpty()) {
                throw new IOException(way.getKey() + ": no password");
            }
            users.put(way.getKey(), credentials.username);
        }
        return users;
    }

    private static String env(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null ? otherwise : value;
    }
}
