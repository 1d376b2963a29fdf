auto_auth { method "token_file" { config = { token_file_path = "/t" } } sink "file" { config = { path = "/s", mode = 0640 } } } listener "tcp" { address = "127.0.0.1:8100" tls_disable = true } cache { }
template { contents = "{{ with secret \"kv/a\" }}{{ .Data.x }}{{ end }}", destination = "/d" command = "true", }
