"pid_file" = "/run/a.pid"
"auto_auth" {
  "method" "token_file" {
    "config" = {
      "token_file_path" = "/t"
    }
  }
}
"template" {
  "contents"             = "x"
  "destination"          = "/d"
  "left_delimiter"       = "{%"
  "right_delimiter"      = "%}"
  "error_on_missing_key" = true
}
