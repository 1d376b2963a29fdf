auto_auth {
  method "azure" {
    mount_path = "auth/azure"
    config = {
      role     = "web"
      resource = "https://management.azure.com/"
    }
  }

  sink "file" {
    config = {
      path = "/run/web/token"
    }
  }
}
