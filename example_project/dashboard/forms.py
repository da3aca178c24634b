"""Forms of the dashboard; their labels stand above the fields and end without a colon."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm

from .models import UserSettings


class LogInForm(AuthenticationForm):
    """Who logs in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, label_suffix="", **kwargs)


class UserSettingsForm(forms.ModelForm):
    """What a user may choose."""

    class Meta:
        model = UserSettings
        fields = ("theme", "timezone", "failing_first")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, label_suffix="", **kwargs)
