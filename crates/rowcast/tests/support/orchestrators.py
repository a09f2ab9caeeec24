"""Runs a sync with the classes of RudderStack's packages: `succeeds` or `fails`."""

import logging
import os
import sys
import types

BASE, TOKEN, SYNC = os.environ["ROWCAST_URL"], os.environ["ROWCAST_TOKEN"], "customers_to_crm"


def module(name, **members):
    made = types.ModuleType(name)
    made.__dict__.update(members)
    sys.modules[name] = made


class AirflowException(Exception):
    pass


class HttpHook:
    """What the provider takes from Airflow's: a logger, and connections by name."""

    def __init__(self, http_conn_id=None, **_):
        self._log = self.log = logging.getLogger("hook")

    def get_connection(self, name):
        assert name == "rowcast", name
        return types.SimpleNamespace(host=BASE, password=TOKEN)


class BaseOperator:
    def __init__(self, task_id, **_):
        self.task_id = task_id
        self.log = logging.getLogger("operator")


for parent in ["airflow", "airflow.providers", "airflow.providers.http", "airflow.providers.http.hooks", "airflow.models"]:
    module(parent, __path__=[])
module("airflow.exceptions", AirflowException=AirflowException)
module("airflow.providers.http.hooks.http", HttpHook=HttpHook)
module("airflow.models.baseoperator", BaseOperator=BaseOperator)

from dagster import Failure  # noqa: E402
from dagster_rudderstack.resources.rudderstack import RudderStackRETLResource  # noqa: E402
from rudder_airflow_provider.hooks.rudderstack import RudderStackRETLHook  # noqa: E402
from rudder_airflow_provider.operators.rudderstack import RudderstackRETLOperator  # noqa: E402

operator = RudderstackRETLOperator(
    task_id="sync", retl_connection_id=SYNC, connection_id="rowcast", poll_interval=0.2
)
hook = RudderStackRETLHook("rowcast", request_max_retries=0, poll_interval=0.2)
resource = RudderStackRETLResource(
    access_token=TOKEN, rs_cloud_url=BASE, request_max_retries=0, poll_interval=0.2, poll_timeout=60
)


def raises(kind, words, act):
    try:
        act()
    except kind as error:
        text = str(error) + str(getattr(error, "description", ""))
        assert words in text, text
    else:
        raise AssertionError(f"no {kind.__name__}")


if sys.argv[1] == "succeeds":
    operator.execute({})
    details = resource.start_and_poll(SYNC).sync_run_details
    assert details["status"] == "succeeded", details
    assert details["metrics"]["total"] == 40, details
    details = hook.poll_sync(SYNC, hook.start_sync(SYNC, "full"))
    assert details["metrics"]["succeeded"]["total"] == 40, details
    raises(AirflowException, "retries", lambda: hook.start_sync("none"))
    raises(Failure, "retries", lambda: resource.start_sync("none"))
else:
    raises(AirflowException, "E0702", lambda: operator.execute({}))
    raises(Failure, "E0702", lambda: resource.start_and_poll(SYNC))
