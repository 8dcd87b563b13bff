// memory_shapes.v with a register behind each output, enabled by ENABLE.

`timescale 1ns / 1ns

module REGISTERED (
    input clk, input [3:0] write, input enable,
    input [13:0] target, source, anywhere, input [35:0] data,
    output [35:0] words, output [31:0] lanes, output [17:0] halves, output [8:0] bytes,
    output [3:0] nibbles, output [1:0] pairs, output bits, output [7:0] rom, output [39:0] wide,
    output [7:0] kept, fresh, stale, output [15:0] both_a, both_b, output [3:0] digits
);
    wire [209:0] found;
    reg [209:0] held = 0;
    SHAPES shapes (clk, write, enable, target, source, anywhere, data,
        found[35:0], found[67:36], found[85:68], found[94:86], found[98:95], found[100:99],
        found[101], found[109:102], found[149:110], found[157:150], found[165:158],
        found[173:166], found[189:174], found[205:190], found[209:206]);
    always @(posedge clk) if (ENABLE) held <= found;
    assign {digits, both_b, both_a, stale, fresh, kept, wide, rom, bits, pairs, nibbles, bytes,
        halves, lanes, words} = held;
endmodule
