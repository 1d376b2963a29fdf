package config

import "sync"

// harmless says whether the value of a key may be shown to anybody: in a
// message's source line and in the effective configuration. Keys are added
// here only when no value of theirs is a secret; everything else is hidden.
//
// A template's secret is the path of one; elsewhere the word promises less, so
// it is not here.
func harmless(key string) bool { return harmlessKeys()[key] }

var harmlessKeys = sync.OnceValue(func() map[string]bool {
	return set(
		// Top level.
		"pid_file", "exit_after_auth", "log_level", "log_format", "log_file", "log_rotate_duration",
		"log_rotate_bytes", "log_rotate_max_files", "disable_idle_connections", "disable_keep_alives",
		"cluster_name", "status_socket",
		// vault. An address may hold a password; see hideUserinfo.
		"address", "namespace", "ca_cert", "ca_path", "client_cert", "client_key", "tls_skip_verify",
		"tls_server_name", "num_retries", "proxy_address", "client_timeout", "rate_limit", "srv_lookup", "disable_redirects",
		// auto_auth, method, sink.
		"enable_reauth_on_new_credentials", "type", "mount_path", "wrap_ttl", "min_backoff", "max_backoff",
		"exit_on_err", "dh_type", "dh_path", "derive_key", "aad_env_var", "signal", "signal_pid_file",
		// handover and persist. Not key_env and caller_token_env: who mistakes one
		// for the key itself must not see the key in a log.
		"key_file",
		// Methods' and sinks' own keys: names, paths and switches.
		"path", "mode", "owner", "group", "uid", "gid", "user",
		"role", "role_id_file_path", "secret_id_file_path", "remove_secret_id_file_after_reading",
		"secret_id_response_wrapping_path", "token_file_path", "token_path", "name", "reload", "reload_period",
		"remove_jwt_after_reading", "remove_jwt_follows_symlinks", "jwt_read_period", "username",
		"username_file_path", "password_file_path", "remove_password_after_reading",
		"remove_password_follows_symlinks", "password_read_period", "region", "credential_poll_interval",
		"resource", "scope", "object_id", "client_id", "authenticate_from_environment", "service_account",
		"project", "jwt_exp", "service", "realm", "keytab_path", "krb5conf_path", "disable_fast_negotiation",
		"sts_endpoint", "assume_role_arn", "assume_role_session_name", "assume_role_duration", "assume_role_sts_endpoint",
		"audience", "signing_algorithm", "duration",
		"role_arn", "role_session_name", "role_session_expiration", "session_expiration", "role_name",
		// cache, api_proxy, listener.
		"use_auto_auth_token", "enforce_consistency", "when_inconsistent", "keep_after_import",
		"service_account_token_file", "require_request_header", "enable_quit", "tls_disable", "tls_cert_file",
		"tls_key_file", "tls_min_version", "tls_max_version", "tls_cipher_suites",
		"tls_require_and_verify_client_cert", "tls_client_ca_file", "tls_disable_client_certs",
		"tls_auto_reload", "socket_mode", "socket_user", "socket_group", "auto_auth", "guard",
		"caller_token_file", "allow_paths", "allow_peers", "read_only", "max_connections", "max_header_size",
		"max_body_size", "request_timeout", "static_ttl", "static_stale", "static_events",
		"static_secret_token_capability_refresh_interval", "static_secret_token_capability_refresh_behavior",
		"max_entries", "max_size", "key_headers",
		// template, env_template, template_config, exec. Not contents, command
		// and env: people write secrets into them.
		"source", "format", "destination", "create_dest_dirs", "perms", "error_on_missing_key",
		"error_fatal", "backup", "command_timeout", "timeout", "enabled", "pristine", "kill_signal",
		"kill_timeout", "reload_signal", "splay", "wait", "min", "max", "left_delimiter", "right_delimiter",
		"sandbox_path", "function_denylist", "function_blacklist", "exit_on_retry_failure",
		"static_secret_render_interval", "max_connections_per_host", "lease_renewal_threshold",
		"static_secret_events", "restart_on_secret_changes", "restart_stop_signal", "restart_kill_timeout",
		"restart_delay", "child_process_stdout", "child_process_stderr", "pass_credentials",
		// telemetry. Not otlp_headers: they authenticate.
		"statsite_address", "statsd_address", "dogstatsd_addr", "dogstatsd_tags", "prometheus_retention_time",
		"disable_hostname", "enable_hostname_label", "metrics_prefix", "filter_default", "prefix_filter", "otlp_endpoint", "otlp_interval",
	)
})

func set(keys ...string) map[string]bool {
	m := make(map[string]bool, len(keys))
	for _, k := range keys {
		m[k] = true
	}
	return m
}
