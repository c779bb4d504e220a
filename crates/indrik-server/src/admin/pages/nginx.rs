//! `/nginx_status`: what tools that know nginx's `stub_status` read.

use crate::admin::answer::Answer;
use crate::admin::context::Context;

/// The four lines, letter by letter as nginx has them.
pub(crate) fn answer(context: &Context) -> Answer {
    let flow = context.board.front().map(|front| front.flow()).unwrap_or_default();
    let text = format!(
        "Active connections: {} \nserver accepts handled requests\n {} {} {} \n\
         Reading: {} Writing: {} Waiting: {} \n",
        flow.open,
        flow.accepted,
        flow.handled,
        flow.requests,
        flow.reading,
        flow.writing,
        flow.waiting,
    );
    Answer::of("text/plain", text)
}
