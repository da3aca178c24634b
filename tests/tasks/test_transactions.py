"""Jobs and transactions: `delay` knows nothing of them, `delay_on_commit` waits for one."""

from collections.abc import Iterator

import pytest
from celery import Celery
from django.conf import settings
from django.db import transaction
from django.test import TestCase

from redis_optimizer.tasks import OptimizedTask, batch, batching

app = Celery("transactions", broker=settings.REDIS_TEST_URL, set_as_current=False)
app.conf.task_ignore_result = True


@app.task(base=OptimizedTask, name="transactions.batched", batch_size=100, batch_timeout=3600)
def batched(number):
    return number


@app.task(base=OptimizedTask, name="transactions.alone")
def alone(number):
    return number


@pytest.fixture(autouse=True)
def _leave_nothing() -> Iterator[None]:
    app.conf.broker_url = settings.REDIS_TEST_URL
    yield
    batching.flush_all()


@pytest.fixture
def queued(admin):
    """Return a function that says how many messages the broker holds."""
    return lambda: admin.llen("celery")


@pytest.mark.django_db(transaction=True)
def test_delay_does_not_ask_for_the_transaction(queued):
    with transaction.atomic():
        alone.delay(1)
        assert queued() == 1
        batched.delay(1)
        transaction.set_rollback(True)
    batching.flush_all()
    assert queued() == 2


@pytest.mark.django_db(transaction=True)
def test_a_job_of_delay_on_commit_is_buffered_when_the_transaction_commits(queued):
    with transaction.atomic():
        batched.delay_on_commit(1)
        batched.apply_async_on_commit((2,))
        batching.flush_all()
        assert queued() == 0
    assert batching.is_pending()
    assert queued() == 0
    batching.flush_all()
    assert queued() == 2


@pytest.mark.django_db(transaction=True)
def test_the_buffer_is_full_at_the_commit(queued):
    with transaction.atomic():
        for number in range(batched.batch_size):
            batched.delay_on_commit(number)
        assert queued() == 0
    assert queued() == batched.batch_size
    assert not batching.is_pending()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("task", [alone, batched], ids=["alone", "batched"])
def test_a_job_of_a_transaction_that_is_rolled_back_is_never_sent(queued, task):
    with transaction.atomic():
        task.delay_on_commit(1)
        transaction.set_rollback(True)
    batching.flush_all()
    assert queued() == 0


@pytest.mark.django_db(transaction=True)
def test_without_a_transaction_the_job_is_called_for_at_once(queued):
    alone.delay_on_commit(1)
    batched.delay_on_commit(1)
    assert queued() == 1
    batching.flush_all()
    assert queued() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("task", [alone, batched], ids=["alone", "batched"])
def test_a_block_around_the_transaction_sends_what_it_committed(queued, task):
    with batch(app=app):
        with transaction.atomic():
            task.delay_on_commit(1)
            task.delay_on_commit(2)
        assert queued() == 0
    assert queued() == 2


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_committed_after_the_block_goes_its_ordinary_way(queued):
    with transaction.atomic():
        with batch(app=app):
            alone.delay_on_commit(1)
            batched.delay_on_commit(1)
            alone.delay(2)
        assert queued() == 1
    assert queued() == 2
    assert batching.is_pending()


@pytest.mark.django_db
@pytest.mark.parametrize("task", [alone, batched], ids=["alone", "batched"])
def test_captured_callbacks_send_jobs(queued, task):
    with TestCase.captureOnCommitCallbacks(execute=True) as callbacks:
        task.delay_on_commit(1)
        batching.flush_all()
        assert queued() == 0
    batching.flush_all()
    assert len(callbacks) == 1
    assert queued() == 1


@pytest.mark.django_db
def test_captured_callbacks_that_are_not_executed_send_nothing(queued):
    with TestCase.captureOnCommitCallbacks() as callbacks:
        batched.delay_on_commit(1)
    batching.flush_all()
    assert len(callbacks) == 1
    assert queued() == 0


@pytest.mark.django_db
def test_captured_callbacks_of_a_block_leave_with_it(queued):
    with batch(app=app):
        with TestCase.captureOnCommitCallbacks(execute=True):
            alone.delay_on_commit(1)
            batched.delay_on_commit(1)
        assert queued() == 0
    assert queued() == 2
