auto_auth {
  method "token_file" {
  }
  sink "file" {
    config = { path = "/s" }
  }
}
