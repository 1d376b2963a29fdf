package example;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads JSON, so that this sample needs nothing but the JDK. A function that has
 * Jackson or Gson anyway uses that instead.
 */
final class Json {
    private final Object value;

    private Json(Object value) {
        this.value = value;
    }

    static Json parse(String text) {
        Reader r = new Reader(text);
        Object value = r.value();
        r.end();
        return new Json(value);
    }

    /** The member of an object. */
    Json get(String name) {
        if (!(value instanceof Map) || !((Map<?, ?>) value).containsKey(name)) {
            throw new IllegalArgumentException("the answer has no " + name);
        }
        return new Json(((Map<?, ?>) value).get(name));
    }

    String text() {
        return String.valueOf(value);
    }

    private static final class Reader {
        private final String text;
        private int at;

        Reader(String text) {
            this.text = text;
        }

        Object value() {
            switch (peek()) {
                case '{':
                    return object();
                case '[':
                    return array();
                case '"':
                    return string();
                default:
                    return literal();
            }
        }

        void end() {
            while (at < text.length()) {
                if (!Character.isWhitespace(text.charAt(at++))) {
                    throw wrong();
                }
            }
        }

        private Map<String, Object> object() {
            Map<String, Object> members = new LinkedHashMap<>();
            take('{');
            while (peek() != '}') {
                String name = string();
                take(':');
                members.put(name, value());
                if (peek() != '}') {
                    take(',');
                }
            }
            take('}');
            return members;
        }

        private List<Object> array() {
            List<Object> items = new ArrayList<>();
            take('[');
            while (peek() != ']') {
                items.add(value());
                if (peek() != ']') {
                    take(',');
                }
            }
            take(']');
            return items;
        }

        private String string() {
            take('"');
            StringBuilder s = new StringBuilder();
            for (char c = next(); c != '"'; c = next()) {
                s.append(c == '\\' ? escaped() : c);
            }
            return s.toString();
        }

        private char escaped() {
            char c = next();
            switch (c) {
                case 'b':
                    return '\b';
                case 'f':
                    return '\f';
                case 'n':
                    return '\n';
                case 'r':
                    return '\r';
                case 't':
                    return '\t';
                case 'u':
                    int code = 0;
                    for (int i = 0; i < 4; i++) {
                        int digit = Character.digit(next(), 16);
                        if (digit < 0) {
                            throw wrong();
                        }
                        code = code << 4 | digit;
                    }
                    return (char) code;
                default:
                    return c;
            }
        }

        /** Numbers keep their digits; null, true and false are what they are. */
        private Object literal() {
            int from = at;
            while (at < text.length() && "+-.0123456789aEeflnrstu".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
            String word = text.substring(from, at);
            switch (word) {
                case "":
                    throw wrong();
                case "null":
                    return null;
                case "true":
                    return true;
                case "false":
                    return false;
                default:
                    try {
                        return new BigDecimal(word);
                    } catch (NumberFormatException e) {
                        throw wrong();
                    }
            }
        }

        private char peek() {
            while (at < text.length() && Character.isWhitespace(text.charAt(at))) {
                at++;
            }
            if (at >= text.length()) {
                throw wrong();
            }
            return text.charAt(at);
        }

        private void take(char c) {
            if (peek() != c) {
                throw wrong();
            }
            at++;
        }

        private char next() {
            if (at >= text.length()) {
                throw wrong();
            }
            return text.charAt(at++);
        }

        /** Says where, never what: the text may hold a secret. */
        private IllegalArgumentException wrong() {
            return new IllegalArgumentException("not JSON at character " + at);
        }
    }
}
