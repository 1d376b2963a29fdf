auto_auth {
  method "token_file" = {
    config = { token_file_path = "/t" }
  }
  sink "file" {
    config = { path = "/s" }
  }
}
