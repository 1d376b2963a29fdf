import example.Handler;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Map;

/** What Lambda's runtime for Java does with a handler, in short. */
public class Runtime {
    public static void main(String[] args) throws Exception {
        String api = "http://" + System.getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/";
        HttpClient http = HttpClient.newHttpClient();
        Handler handler = new Handler();
        for (;;) {
            HttpResponse<String> next = http.send(
                    HttpRequest.newBuilder(URI.create(api + "next")).build(), HttpResponse.BodyHandlers.ofString());
            String request = next.headers().firstValue("Lambda-Runtime-Aws-Request-Id").get();
            String path = "/response";
            String value;
            try {
                StringBuilder json = new StringBuilder("{");
                for (Map.Entry<String, String> e : handler.handle(Map.of()).entrySet()) {
                    json.append(json.length() > 1 ? "," : "").append(quote(e.getKey())).append(":").append(quote(e.getValue()));
                }
                value = json.append("}").toString();
            } catch (Exception e) {
                e.printStackTrace();
                path = "/error";
                value = "{\"errorType\":" + quote(e.getClass().getSimpleName()) + ",\"errorMessage\":" + quote(e.getMessage()) + "}";
            }
            http.send(HttpRequest.newBuilder(URI.create(api + request + path))
                    .POST(HttpRequest.BodyPublishers.ofString(value)).build(), HttpResponse.BodyHandlers.discarding());
        }
    }

    private static String quote(String s) {
        return "\"" + String.valueOf(s).replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + "\"";
    }
}
