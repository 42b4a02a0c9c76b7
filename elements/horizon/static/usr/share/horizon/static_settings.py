# What the static files depend on, when they are made and when they are served.
COMPRESS_OFFLINE = True
# Pages of a Horizon that is debugged hold no templates of its client, and are compressed without.
DEBUG = False
STATIC_ROOT = "/usr/share/horizon/static"
AVAILABLE_THEMES = [("default", "Default", "themes/default")]
