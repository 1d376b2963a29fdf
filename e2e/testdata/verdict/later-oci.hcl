auto_auth {
  method "oci" {
    mount_path = "auth/oci"
    config = {
      type = "instance"
      role = "web"
    }
  }

  sink "file" {
    config = {
      path = "/run/web/token"
    }
  }
}
