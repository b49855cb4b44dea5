//! Templates of the common families, against what `transformers` (jinja2 3.1) renders from the same source.

use super::*;

/// SmolLM2-135M-Instruct's own, from its GGUF file: a default system prompt if the chat has none.
const SMOLLM2: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const CHATML: &str = "{% for message in messages %}\n    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}\n{% endfor %}\n{% if add_generation_prompt %}\n{{- '<|im_start|>assistant\\n' }}\n{% endif %}\n";

/// Gemma-3's manner: the system message goes into the first user turn, roles must alternate, text is trimmed.
const GEMMA: &str = "{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = \"\" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception(\"Conversation roles must alternate user/assistant/user/assistant/...\") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = \"model\" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else \"\") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
";

/// Llama-3's manner: BOS, headers, a date.
const LLAMA3: &str = "{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now(\"%d %b %Y\") %}
    {%- else %}
        {%- set date_string = \"26 Jul 2024\" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = \"\" %}
{%- endif %}
{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}
{{- \"Today Date: \" + date_string + \"\\n\\n\" }}
{{- system_message }}
{{- \"<|eot_id|>\" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
";

/// Qwen3's manner: namespaces, reversed messages, string methods, thoughts taken out of earlier answers.
const QWEN3: &str = "{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == \"user\" and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == \"assistant\" %}
        {%- set content = message.content %}
        {%- if message.reasoning_content is defined and message.reasoning_content is not none %}
            {{- raise_exception('not here') }}
        {%- elif '</think>' in message.content %}
            {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
";

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new("m.gguf".into(), source, "<s>".into(), "</s>".into()).unwrap()
}

fn chat(messages: &[(&str, &str)]) -> Vec<Message> {
    messages.iter().map(|(role, content)| Message::new(role, content)).collect()
}

const TALK: [(&str, &str); 3] = [("user", " Hi "), ("assistant", "<think>hm</think>\n\nHello."), ("user", "Bye")];

#[test]
fn smollm2_adds_its_system_prompt() {
    let smollm2 = template(SMOLLM2);
    let system = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n";
    let hi = "<|im_start|>user\nHi<|im_end|>\n";
    let rendered = smollm2.render(&chat(&[("user", "Hi")]), true).unwrap();
    assert_eq!(rendered, format!("{system}{hi}<|im_start|>assistant\n"));
    let rendered = smollm2.render(&chat(&[("system", "Be brief."), ("user", "Hi")]), false).unwrap();
    assert_eq!(rendered, format!("<|im_start|>system\nBe brief.<|im_end|>\n{hi}"));
}

#[test]
fn block_tags_take_their_own_line_with_them_and_no_other() {
    let rendered = template(CHATML).render(&chat(&[("user", "a <b> & 'c'")]), true).unwrap();
    assert_eq!(rendered, "<|im_start|>user\na <b> & 'c'<|im_end|>\n\n<|im_start|>assistant\n\n");
}

#[test]
fn gemma_folds_the_system_message_and_refuses_a_wrong_order() {
    let gemma = template(GEMMA);
    let rendered = gemma.render(&chat(&[("system", "S"), ("user", " Hi "), ("assistant", "Yo")]), true).unwrap();
    assert_eq!(
        rendered,
        "<s><start_of_turn>user\nS\n\nHi<end_of_turn>\n<start_of_turn>model\nYo<end_of_turn>\n<start_of_turn>model\n"
    );
    let error = gemma.render(&chat(&[("assistant", "Yo")]), true).unwrap_err();
    assert!(matches!(error, ChatError::Refused { .. }));
    assert!(error.to_string().starts_with("m.gguf: the chat template refuses the messages: Conversation roles must"));
}

#[test]
fn llama3_is_told_a_fixed_day_unless_one_is_given() {
    let llama3 = template(LLAMA3);
    let rest = "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n";
    let rendered = llama3.render(&chat(&[("system", " S "), ("user", " Hi ")]), true).unwrap();
    let head = "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: ";
    assert_eq!(rendered, format!("{head}26 Jul 2024\n\nS{rest}"));
    let options =
        RenderOptions { add_generation_prompt: true, unix_time: Some(951_782_400), ..RenderOptions::default() };
    let rendered = llama3.render_with(&chat(&[("user", "Hi")]), &options).unwrap();
    assert_eq!(rendered, format!("{head}29 Feb 2000\n\n{rest}"));
}

#[test]
fn qwen3_drops_old_thoughts_and_thinks_unless_told_not_to() {
    let qwen3 = template(QWEN3);
    let body = "<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n";
    for (thinking, tail) in [(None, ""), (Some(true), ""), (Some(false), "<think>\n\n</think>\n\n")] {
        let options = RenderOptions { add_generation_prompt: true, enable_thinking: thinking, unix_time: None };
        assert_eq!(qwen3.render_with(&chat(&TALK), &options).unwrap(), format!("{body}{tail}"));
    }
}

#[test]
fn python_and_its_extensions() {
    let render = |source: &str| template(source).render(&chat(&TALK), false).unwrap();
    assert_eq!(
        render("{{ {'a': [1, 2.5, none, true], 'é<&>': 'x'} | tojson }}"),
        r#"{"a": [1, 2.5, null, true], "é<&>": "x"}"#
    );
    assert_eq!(render("{{ {'a': [1], 'b': {}} | tojson(indent=2) }}"), "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}");
    assert_eq!(
        render(
            "{% for m in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}{{ m.content.strip() }}{% endfor %}"
        ),
        "Hi"
    );
    assert_eq!(render("a {% generation -%} b {%- endgeneration %} c {% raw %}{% x %}{% endraw %}"), "a b c {% x %}");
    assert_eq!(
        render("{{ messages[0].tool_calls }}{{ messages | map(attribute='role') | join(',') }}"),
        "user,assistant,user"
    );
    assert_eq!(
        render("{{ 'a,b'.split(',') | last }}{{ ' x'.lstrip() }}{{ 'A' in 'xAx' }}{{ eos_token }}"),
        "bxTrue</s>"
    );
}

#[test]
fn hostile_templates_end() {
    let fails = |source: &str| match ChatTemplate::new("m.gguf".into(), source, String::new(), String::new()) {
        Ok(template) => template.render(&chat(&TALK), true).expect_err("no end").to_string(),
        Err(error) => error.to_string(),
    };
    let nested = "{% for i in range(99999) %}".repeat(6) + "x" + &"{% endfor %}".repeat(6);
    assert!(fails(&nested).contains("fuel"), "{}", fails(&nested));
    assert!(fails("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").contains("recursion"));
    let long = "{% for i in range(99999) %}{{ 'x' * 10000 }}{% endfor %}";
    assert!(fails(long).starts_with("m.gguf: cannot render"), "{}", fails(long));
    assert!(fails("{% if %}").starts_with("m.gguf: bad chat template: syntax error"));
    assert!(fails(&"x".repeat(MAX_SOURCE + 1)).contains("the limit is"));
    assert!(fails(&"{{ (".repeat(10_000)).contains("bad chat template"));
    assert!(fails("{% for").lines().count() == 1 && fails("{{ raise_exception('a\nb') }}").lines().count() == 1);
}

#[test]
fn the_template_and_its_tokens_come_from_the_file() {
    use crate::model::gguf::{Value as V, Writer};
    let file = |template: bool| {
        let mut writer = Writer::new();
        if template {
            writer.put("tokenizer.chat_template", V::Str("{{ bos_token }}|{{ eos_token }}"));
        }
        writer.put_strs("tokenizer.ggml.tokens", &["<s>", "</s>"]);
        writer.put("tokenizer.ggml.bos_token_id", V::U32(0));
        writer.put("tokenizer.ggml.eos_token_id", V::U32(9));
        Gguf::from_bytes("m.gguf", writer.to_bytes(&[]).unwrap()).unwrap()
    };
    assert!(ChatTemplate::from_gguf(&file(false)).unwrap().is_none());
    let template = ChatTemplate::from_gguf(&file(true)).unwrap().unwrap();
    assert_eq!(template.render(&[], false).unwrap(), "<s>|");
    assert_eq!(template.hash().len(), 64);
    assert_ne!(template.hash(), super::tests::template(SMOLLM2).hash());
}
