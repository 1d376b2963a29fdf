log_level            = "debug"
log_format           = "json"
log_rotate_duration  = "48h"
log_rotate_bytes     = 1048576
log_rotate_max_files = -1

disable_idle_connections = ["auto-auth", "proxying"]
disable_keep_alives      = ["templating", "caching", ""]

auto_auth {
  enable_reauth_on_new_credentials = true
  method "token_file" {
    config = { token_file_path = "/t" }
  }
  sink "file" {
    config = { path = "/s" }
  }
}
