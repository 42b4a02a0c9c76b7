import ssl

DEBUG = False
SECRET_KEY = "{{horizon.secret_key}}"
ALLOWED_HOSTS = [{{#horizon.hosts}}"{{.}}", {{/horizon.hosts}}]
TIME_ZONE = "UTC"

OPENSTACK_KEYSTONE_URL = "{{identity.auth_url}}"
OPENSTACK_ENDPOINT_TYPE = "internalURL"
OPENSTACK_SSL_CACERT = "{{identity.cafile}}"
HORIZON_IMAGES_UPLOAD_MODE = "legacy"

{{#cache}}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": "{{cache.servers}}",
        "OPTIONS": {"tls_context": ssl.create_default_context(cafile="{{identity.cafile}}")},
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
{{/cache}}
{{^cache}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
SESSION_ENGINE = "django.contrib.sessions.backends.file"
SESSION_FILE_PATH = "/var/lib/horizon/sessions"
{{/cache}}

{{#front}}
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CSRF_COOKIE_SECURE = True
SESSION_COOKIE_SECURE = True
LANGUAGE_COOKIE_SECURE = True
{{/front}}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
