auto_auth {
  method "ldap" {
    mount_path = "auth/ldap"
    config = {
      username           = "web"
      password_file_path = "/run/web/password"
    }
  }

  sink "file" {
    config = {
      path = "/run/web/token"
    }
  }
}
