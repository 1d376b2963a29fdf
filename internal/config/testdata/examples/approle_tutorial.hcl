pid_file = "./pidfile"

auto_auth {
   method {
      type = "approle"

      config = {
         role_id_file_path = "roleID"
         secret_id_file_path = "secretID"
         remove_secret_id_file_after_reading = false
      }
   }

   sink {
      type = "file"

      config = {
         path = "approleToken"
      }
   }
}

vault {
   address = ""
}

cache {}

listener "tcp" {
   address     = "127.0.0.1:8007"
   tls_disable = true
}
