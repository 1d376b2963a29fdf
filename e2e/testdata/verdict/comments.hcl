# one
// two
/* three
   lines */
auto_auth { // here
  method "token_file" { # and here
    config /* between */ = { token_file_path = "/t" }
  }
  sink "file" { config = { path = "/s" } }
}
