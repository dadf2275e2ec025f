from django.apps import AppConfig


class DjangoAppConfig(AppConfig):
    name = "django_app"
    label = "shelf"
    default_auto_field = "django.db.models.BigAutoField"
