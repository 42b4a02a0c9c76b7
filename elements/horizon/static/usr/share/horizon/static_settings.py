# What the static files depend on, when they are made and when they are served.
COMPRESS_OFFLINE = True
STATIC_ROOT = "/usr/share/horizon/static"
AVAILABLE_THEMES = [("default", "Default", "themes/default")]
