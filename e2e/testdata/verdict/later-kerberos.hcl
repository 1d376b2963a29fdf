auto_auth {
  method "kerberos" {
    mount_path = "auth/kerberos"
    config = {
      username      = "web"
      service       = "HTTP/vault.example.com:8200"
      realm         = "EXAMPLE.COM"
      keytab_path   = "/etc/krb5/web.keytab"
      krb5conf_path = "/etc/krb5.conf"
      disable_fast_negotiation = true
    }
  }

  sink "file" {
    config = {
      path = "/run/web/token"
    }
  }
}
