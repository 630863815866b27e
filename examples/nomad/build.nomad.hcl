job "build" {
  type = "batch"

  parameterized {
    meta_required = ["source", "name"]
  }

  group "build" {
    reschedule {
      attempts = 2
      interval = "1h"
    }

    task "lath" {
      driver = "raw_exec"
      user   = "root"

      config {
        command = "/usr/local/bin/lath"
        args = [
          "build", "--push", "--pull", "--priority=low", "--memory=400m",
          "--tag=registry.lan:5000/${NOMAD_META_name}:latest",
          "--cache-from=type=registry,ref=registry.lan:5000/cache/${NOMAD_META_name}",
          "--cache-to=type=registry,ref=registry.lan:5000/cache/${NOMAD_META_name},mode=max",
          "${NOMAD_META_source}",
        ]
      }

      env {
        DOCKER_CONFIG = "${NOMAD_SECRETS_DIR}"
      }

      resources {
        cpu    = 500
        memory = 512
      }
    }
  }
}
